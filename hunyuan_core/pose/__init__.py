"""Pose images: whole-body keypoints, alignment to the portrait, drawing."""
