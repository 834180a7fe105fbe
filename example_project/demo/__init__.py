"""The shop at work: `python -m example_project.demo` plays a day in it, with real processes."""
