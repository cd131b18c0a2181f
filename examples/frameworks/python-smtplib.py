# Python's smtplib.
import os, smtplib, ssl
from email.message import EmailMessage

host, port, mode = os.environ["MAIL_HOST"], int(os.environ["MAIL_PORT"]), os.environ["MAIL_TLS"]

msg = EmailMessage()
msg["From"], msg["To"], msg["Subject"] = "app@example.com", "user@example.com", os.environ["MAIL_SUBJECT"]
msg.set_content("It works.")

trust = ssl.create_default_context(cafile=os.environ.get("MAIL_CA"))
if mode == "tls":
    smtp = smtplib.SMTP_SSL(host, port, context=trust)
else:
    smtp = smtplib.SMTP(host, port)
    if mode == "starttls":
        smtp.starttls(context=trust)
if mode != "none":
    smtp.login(os.environ["MAIL_USER"], os.environ["MAIL_PASSWORD"])
smtp.send_message(msg)
smtp.quit()
