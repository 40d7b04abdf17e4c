"""The public pages: what they show, what they refuse, what they cannot be made to say."""
