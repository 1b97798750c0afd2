"""Starting and supervising the programs the cloud stands on: redis-server and vLLM.

Kept free of imports: ``scripts/bootstrap.py`` reads ``launch.environments`` before anything is
installed.
"""
