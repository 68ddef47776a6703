from pathlib import Path

from experiments.present.draw import draw_shapes

DOCUMENTS = Path(__file__).resolve().parents[4] / "docs"


def test_the_documents_show_every_shape_as_it_is_drawn_now(tmp_path: Path) -> None:
    text = (DOCUMENTS / "networks.md").read_text()
    for drawn in draw_shapes(tmp_path):
        stored = DOCUMENTS / "images" / "shapes" / drawn.name
        assert stored.read_text() == drawn.read_text(), "python -m experiments shapes draws them"
        assert f"images/shapes/{drawn.name}" in text
