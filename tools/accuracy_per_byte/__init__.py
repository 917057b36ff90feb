"""What `frontier.py` consists of: figures of finished runs, figures of others, and the tables of the page."""
