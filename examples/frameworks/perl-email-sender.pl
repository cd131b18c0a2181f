# Perl's Email::Sender. SSL_CERT_FILE names further CAs.
use strict;
use warnings;
use Email::Sender::Simple qw(sendmail);
use Email::Sender::Transport::SMTP;
use Email::Simple;

my $mode = $ENV{MAIL_TLS};
my %login = $mode eq 'none' ? () : (sasl_username => $ENV{MAIL_USER}, sasl_password => $ENV{MAIL_PASSWORD});
my $transport = Email::Sender::Transport::SMTP->new({
    host => $ENV{MAIL_HOST}, port => $ENV{MAIL_PORT},
    ssl => $mode eq 'tls' ? 'ssl' : $mode eq 'starttls' ? 'starttls' : 0,
    ssl_options => { SSL_ca_file => $ENV{MAIL_CA} },
    %login,
});
my $email = Email::Simple->create(
    header => [From => 'app@example.com', To => 'user@example.com', Subject => $ENV{MAIL_SUBJECT}],
    body => "It works.\n",
);
sendmail($email, { transport => $transport });
