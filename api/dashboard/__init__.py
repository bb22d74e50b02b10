"""The dashboard at `/`: pages for people, made on the server, kept fresh by the live feed. `install(app)` adds it to the app.

A page is a route that asks the read models (`projections/dashboard.sql`) and fills a template; what changes is a fragment of its own, which
htmx asks for again when the feed says that something happened. Forms write through the same code as the API. No inline script or style.
"""

from api.dashboard.install import install

__all__ = ["install"]
