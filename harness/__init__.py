"""What several tests need: checkpoints made on the spot, the reference's answers, pictures."""
