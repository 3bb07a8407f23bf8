"""Load: many paced streams and texts against a running server, and what they experienced.

Job: ``legonn bench load`` plays a scenario, ``legonn bench capacity`` finds how many streams a
server carries. May import: ``legonn``, the rest of ``legonn_loadtest``; never the server. Start
here: ``scenario.py`` (what is asked), ``traffic.py`` (when, decided beforehand), ``speech_user.py``
(one stream), ``driver.py`` (several processes).
"""
