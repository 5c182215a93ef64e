"""What goes in: sets of images, how they are decoded, made comparable, and prepared for an encoder."""
