"""The gateway: client streams in, decisions and transport; the numeric work lives behind `Backend`.

Never imports torch. Start reading at ``app.py`` (what is built) and ``session/machine.py`` (what a
stream may do). Rooms, outermost first: app, config, gateway, pools, backends, then telemetry,
session and routing, which know nothing of one another.
"""
