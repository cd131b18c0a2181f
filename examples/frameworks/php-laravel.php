<?php
// Laravel. In an application these are lines of .env:
//   MAIL_MAILER=smtp  MAIL_HOST=localhost  MAIL_PORT=1587
//   MAIL_ENCRYPTION=tls (STARTTLS) or ssl (from the first byte)
//   MAIL_USERNAME=app  MAIL_PASSWORD=any
// PHP trusts openssl.cafile of php.ini: php -d openssl.cafile=ca.pem
require 'Illuminate/autoload.php'; // with Composer: vendor/autoload.php

use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Events\Dispatcher;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Mail\MailManager;
use Illuminate\View\Engines\EngineResolver;
use Illuminate\View\Factory;
use Illuminate\View\FileViewFinder;

$mode = getenv('MAIL_TLS');
$app = new Container();
$app['config'] = new Repository(['mail' => [
    'default' => 'smtp',
    'mailers' => ['smtp' => [
        'transport' => 'smtp',
        'host' => getenv('MAIL_HOST'),
        'port' => getenv('MAIL_PORT'),
        'encryption' => ['starttls' => 'tls', 'tls' => 'ssl', 'none' => null][$mode],
        'username' => $mode === 'none' ? null : getenv('MAIL_USER'),
        'password' => $mode === 'none' ? null : getenv('MAIL_PASSWORD'),
    ]],
    'from' => ['address' => 'app@example.com', 'name' => 'App'],
]]);
$app['events'] = new Dispatcher($app);
$app['view'] = new Factory(new EngineResolver(), new FileViewFinder(new Filesystem(), []), $app['events']);
(new MailManager($app))->mailer()->raw('It works.', function ($message) {
    $message->to('user@example.com')->subject(getenv('MAIL_SUBJECT'));
});
