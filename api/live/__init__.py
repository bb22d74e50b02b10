"""`GET /v1/live`: accepted events of the log as server-sent events.

`route.py` the request, `feed.py` one client, `hub.py` the process's one tail and its clients, `rounds.py` an accepted round as frames,
`items.py` and `payloads.py` what an event looks like, `marks.py` ids, `history.py` what a client that comes back has missed.
"""
