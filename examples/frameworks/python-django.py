# Django: what stands in configure() belongs into settings.py. Django trusts the
# system's CAs and those of SSL_CERT_FILE:
#   SSL_CERT_FILE=ca.pem python manage.py runserver
import os
import django
from django.conf import settings

mode = os.environ["MAIL_TLS"]
settings.configure(
    EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
    EMAIL_HOST=os.environ["MAIL_HOST"],
    EMAIL_PORT=int(os.environ["MAIL_PORT"]),
    EMAIL_USE_TLS=mode == "starttls",   # 1587, 2525
    EMAIL_USE_SSL=mode == "tls",        # 1465
    EMAIL_HOST_USER="" if mode == "none" else os.environ["MAIL_USER"],
    EMAIL_HOST_PASSWORD="" if mode == "none" else os.environ["MAIL_PASSWORD"],
)
django.setup()

from django.core.mail import send_mail

send_mail(os.environ["MAIL_SUBJECT"], "It works.", "app@example.com", ["user@example.com"])
