"""With this configuration gunicorn loads the application into a process that gevent has patched."""

from gevent import monkey

monkey.patch_all()
