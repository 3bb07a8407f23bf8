"""Settings: one tree, read once. Only ``app.py`` sees all of it."""
