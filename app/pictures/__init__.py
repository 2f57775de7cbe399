"""Pictures: decodes users' files to upright RGB and draws on them. Only this folder uses Pillow."""
