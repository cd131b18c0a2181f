<?php
// Symfony Mailer. In a Symfony application the line is MAILER_DSN in .env:
//   MAILER_DSN=smtp://app:any@localhost:1587     STARTTLS
//   MAILER_DSN=smtps://app:any@localhost:1465    TLS from the first byte
// PHP trusts openssl.cafile of php.ini: php -d openssl.cafile=ca.pem
require 'Symfony/Component/Mailer/autoload.php'; // with Composer: vendor/autoload.php

use Symfony\Component\Mailer\Mailer;
use Symfony\Component\Mailer\Transport;
use Symfony\Component\Mime\Email;

$mode = getenv('MAIL_TLS');
$login = $mode === 'none' ? '' : getenv('MAIL_USER') . ':' . getenv('MAIL_PASSWORD') . '@';
$dsn = ($mode === 'tls' ? 'smtps' : 'smtp') . '://' . $login . getenv('MAIL_HOST') . ':' . getenv('MAIL_PORT');
if ($mode === 'none') {
    $dsn .= '?verify_peer=0'; // port 25's twin offers STARTTLS too; its certificate proves nothing there
}
(new Mailer(Transport::fromDsn($dsn)))->send((new Email())
    ->from('app@example.com')->to('user@example.com')
    ->subject(getenv('MAIL_SUBJECT'))->text('It works.'));
