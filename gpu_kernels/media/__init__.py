"""Containers, streams and time; decoding; how pictures are displayed; storyboards."""
