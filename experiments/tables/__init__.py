"""What was: the typed tables of a run, and how raw records become them."""
