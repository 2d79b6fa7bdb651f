"""The pack in a real ComfyUI: its server, its browser, its manager."""
