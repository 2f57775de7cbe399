"""What people would use instead: small servers around public libraries, with right answers."""
