"""What each call does, in steps that wait for nothing: whether threads or tasks carry it out."""
