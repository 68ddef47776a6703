"""Which backend a client's connection went to, by the balancer's own records. Pure."""

import pandas as pd


def nearest_backend(ends: pd.DataFrame, connections: pd.DataFrame) -> "pd.Series[str]":
    """The backend of each row of `ends`: `client` (`ip:port`) and `opened_s`, both set.

    `connections` is the table of that name. Where a port was used again, the record opened nearest
    in time; null for what no record names. The index is that of `ends`.
    """
    carried = connections.dropna(subset=["backend"])
    return pd.merge_asof(
        ends.reset_index(names="row").sort_values("opened_s"),
        carried[["opened_s", "client", "backend"]].sort_values("opened_s"),
        on="opened_s",
        by="client",
        direction="nearest",
    ).set_index("row")["backend"]


def name_backends(requests: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """Table `requests` with the backend of those too that never got an answer.

    Without them, load per backend would count survivors only: a backend that is given too much
    answers no more than it can, and would look as busy as the others. Stays null for requests
    that reached no backend.
    """
    unnamed = requests[requests["backend"].isna() & requests["local"].notna()]
    if unnamed.empty:
        return requests
    ends = unnamed[["local", "connected_s"]].set_axis(["client", "opened_s"], axis="columns")
    found = nearest_backend(ends, connections)
    return requests.assign(backend=requests["backend"].fillna(found))
