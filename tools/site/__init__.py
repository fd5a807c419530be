"""The site that README, docs/, the models' cards and CONTRIBUTING.md make.

stage.py copies the pages into one folder, with their links turned to where they are then;
zensical.toml is how Zensical makes HTML of that folder. `python -m tools.site` does both.
"""
