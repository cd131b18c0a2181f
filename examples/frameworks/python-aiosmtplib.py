# aiosmtplib, for asyncio programs.
import asyncio, os, ssl
from email.message import EmailMessage
import aiosmtplib

mode = os.environ["MAIL_TLS"]
msg = EmailMessage()
msg["From"], msg["To"], msg["Subject"] = "app@example.com", "user@example.com", os.environ["MAIL_SUBJECT"]
msg.set_content("It works.")
login = {} if mode == "none" else {"username": os.environ["MAIL_USER"], "password": os.environ["MAIL_PASSWORD"]}
tls = {} if mode == "none" else {"tls_context": ssl.create_default_context(cafile=os.environ.get("MAIL_CA"))}

asyncio.run(aiosmtplib.send(
    msg, hostname=os.environ["MAIL_HOST"], port=int(os.environ["MAIL_PORT"]),
    use_tls=mode == "tls", start_tls=mode == "starttls", **login, **tls))
