"""`python -m ecumene`."""

from ecumene.cli.main import main

main()
