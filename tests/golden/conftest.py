"""The scripts here write stored values with libraries that the tests do not install."""

collect_ignore_glob = ["*.py"]
