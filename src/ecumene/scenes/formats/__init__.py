"""What agencies ship, one module a format; each gives `SceneSource` parts, none reads pixels of a scene."""
