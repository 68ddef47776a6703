"""UDP: sessions."""
