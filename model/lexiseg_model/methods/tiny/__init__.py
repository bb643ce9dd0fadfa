"""`tiny`: the compact network that this project trains itself and ships."""
