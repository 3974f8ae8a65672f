"""The pytest plugin: its fixture `bothost` gives a test a `Harness`. Importing it imports neither Tornado nor the core."""
