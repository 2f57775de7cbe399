"""Load for a running service: what is asked, closed and open loops, and what came of them."""
