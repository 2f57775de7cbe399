"""Pictures: users' files in, upright RGB out. The only folder that knows Pillow."""
