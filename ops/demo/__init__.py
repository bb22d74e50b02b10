"""The main job in one command: the whole system on the embedded stack, followers on four venues, signals played, a report."""
