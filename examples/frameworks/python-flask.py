# Flask-Mail. It trusts the system's CAs and those of SSL_CERT_FILE.
import os
from flask import Flask
from flask_mail import Mail, Message

mode = os.environ["MAIL_TLS"]
app = Flask(__name__)
app.config.update(
    MAIL_SERVER=os.environ["MAIL_HOST"],
    MAIL_PORT=int(os.environ["MAIL_PORT"]),
    MAIL_USE_TLS=mode == "starttls",
    MAIL_USE_SSL=mode == "tls",
    MAIL_USERNAME=None if mode == "none" else os.environ["MAIL_USER"],
    MAIL_PASSWORD=None if mode == "none" else os.environ["MAIL_PASSWORD"],
    MAIL_DEFAULT_SENDER="app@example.com",
)
mail = Mail(app)
with app.app_context():
    mail.send(Message(os.environ["MAIL_SUBJECT"], recipients=["user@example.com"], body="It works."))
