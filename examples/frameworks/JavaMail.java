// Jakarta Mail (JavaMail). Java trusts the store of -Djavax.net.ssl.trustStore:
//   keytool -importcert -noprompt -alias dev -file ca.pem -keystore trust.p12 -storepass changeit
import java.util.Properties;
import javax.mail.*;
import javax.mail.internet.*;

public class JavaMail {
    public static void main(String[] args) throws Exception {
        String mode = System.getenv("MAIL_TLS");
        Properties p = new Properties();
        p.put("mail.smtp.host", System.getenv("MAIL_HOST"));
        p.put("mail.smtp.port", System.getenv("MAIL_PORT"));
        p.put("mail.smtp.auth", String.valueOf(!mode.equals("none")));
        p.put("mail.smtp.starttls.enable", String.valueOf(mode.equals("starttls")));
        p.put("mail.smtp.starttls.required", String.valueOf(mode.equals("starttls")));
        p.put("mail.smtp.ssl.enable", String.valueOf(mode.equals("tls")));
        p.put("mail.smtp.ssl.checkserveridentity", "true");
        Session session = Session.getInstance(p, new Authenticator() {
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(System.getenv("MAIL_USER"), System.getenv("MAIL_PASSWORD"));
            }
        });
        MimeMessage m = new MimeMessage(session);
        m.setFrom("app@example.com");
        m.setRecipients(Message.RecipientType.TO, "user@example.com");
        m.setSubject(System.getenv("MAIL_SUBJECT"));
        m.setText("It works.");
        Transport.send(m);
    }
}
