"""Between calls and backends: who works where, how long it took, what is in service.

May import backends, routing, session, telemetry. Start at ``module_manager.py``.
"""
