<?php
// PHPMailer.
require 'libphp-phpmailer/autoload.php'; // with Composer: vendor/autoload.php

use PHPMailer\PHPMailer\PHPMailer;

$mode = getenv('MAIL_TLS');
$mail = new PHPMailer(true);
$mail->isSMTP();
$mail->Host = getenv('MAIL_HOST');
$mail->Port = (int) getenv('MAIL_PORT');
if ($mode === 'none') {
    $mail->SMTPAutoTLS = false;
} else {
    $mail->SMTPSecure = $mode === 'tls' ? PHPMailer::ENCRYPTION_SMTPS : PHPMailer::ENCRYPTION_STARTTLS;
    $mail->SMTPAuth = true;
    $mail->Username = getenv('MAIL_USER');
    $mail->Password = getenv('MAIL_PASSWORD');
    $mail->SMTPOptions = ['ssl' => ['cafile' => getenv('MAIL_CA')]];
}
$mail->setFrom('app@example.com');
$mail->addAddress('user@example.com');
$mail->Subject = getenv('MAIL_SUBJECT');
$mail->Body = 'It works.';
$mail->send();
