"""Faces: detection, tracks, crops, motion intensity and identity."""
