"""How fast the tool is, beside what else a user could have taken: see README.md in this folder."""
