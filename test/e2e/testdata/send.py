"""Sends standard input with smtplib, as an application would."""
import smtplib
import ssl
import sys

host, port, security, user, password, sender, to, ca = sys.argv[1:]
message = sys.stdin.buffer.read()
context = ssl.create_default_context(cafile=ca)
try:
    if security == "implicit":
        server = smtplib.SMTP_SSL(host, int(port), "client.test", timeout=20, context=context)
    else:
        server = smtplib.SMTP(host, int(port), "client.test", timeout=20)
    with server:
        if security == "starttls":
            server.starttls(context=context)
        if user:
            server.login(user, password)
        server.sendmail(sender, [to], message)
except smtplib.SMTPRecipientsRefused as refused:
    code, text = refused.recipients[to]
    sys.exit(f"{code} {text.decode()}")
except smtplib.SMTPResponseException as refused:
    sys.exit(f"{refused.smtp_code} {refused.smtp_error.decode()}")
