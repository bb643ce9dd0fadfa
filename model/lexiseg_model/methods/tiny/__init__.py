"""`tiny`: the compact network that this project trains and bundles."""
