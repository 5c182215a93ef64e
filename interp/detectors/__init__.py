"""Who decides: detectors that tell generated images from photographs, and how they are kept."""
