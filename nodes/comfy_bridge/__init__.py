"""The only place that knows ComfyUI's internals: memory, progress, files, images, its model and guider classes."""
