#!/usr/bin/env bash
# Installs what the tests need on Debian or Ubuntu, or says precisely what is
# missing and how to get it. Run by `make test`; harmless to run again.
set -u
cd "$(dirname "$0")/.." || exit 1

need_go=1.26
if ! command -v go >/dev/null; then
	echo "paquebot: cannot test: Go is not installed" >&2
	echo "  install Go $need_go or newer: https://go.dev/doc/install" >&2
	exit 1
fi

# command -> Debian package; the end-to-end tests talk to these.
wanted="
ip:iproute2
nft:nftables
openssl:openssl
nsenter:util-linux
setpriv:util-linux
postfix:postfix
smtp-sink:postfix
chasquid:chasquid
dovecot:dovecot-lmtpd
knotd:knot
curl:curl
swaks:swaks
msmtp:msmtp
python3:python3
node:nodejs
npm:npm
gcc:gcc
php:php-cli
ruby:ruby
javac:default-jdk-headless
chromium:chromium
"
# file -> Debian package; libraries that the examples of frameworks use.
libraries="
/usr/lib/python3/dist-packages/django:python3-django
/usr/lib/python3/dist-packages/flask_mail.py:python3-flask-mail
/usr/lib/python3/dist-packages/aiosmtplib:python3-aiosmtplib
/usr/share/php/libphp-phpmailer:libphp-phpmailer
/usr/share/php/Symfony/Component/Mailer:php-symfony-mailer
/usr/share/php/Illuminate/Mail:php-laravel-framework
/usr/share/doc/ruby-mail:ruby-mail
/usr/share/doc/ruby-actionmailer:ruby-actionmailer
/usr/share/perl5/Email/Sender.pm:libemail-sender-perl
/usr/share/java/javax.mail.jar:libmail-java
/usr/share/java/spring3-context.support.jar:libspring-context-support-java
"
missing=""
export PATH="$PATH:/usr/sbin:/sbin"
for pair in $wanted; do
	command -v "${pair%%:*}" >/dev/null || case " $missing " in
	*" ${pair##*:} "*) ;;
	*) missing="$missing ${pair##*:}" ;;
	esac
done
for pair in $libraries; do
	[ -e "${pair%%:*}" ] || missing="$missing ${pair##*:}"
done
# swaks speaks TLS only with this Perl module.
if command -v perl >/dev/null && ! perl -MNet::SSLeay -e1 2>/dev/null; then
	missing="$missing libnet-ssleay-perl"
fi

if [ -n "$missing" ]; then
	install="apt-get install -y --no-install-recommends$missing"
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing what the tests need:$missing"
		export DEBIAN_FRONTEND=noninteractive
		# The servers are started by the tests themselves, never by the system.
		policy=/usr/sbin/policy-rc.d
		made=""
		[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=1; }
		log=$(mktemp)
		{ apt-get update && $install; } >"$log" 2>&1
		ok=$?
		[ -n "$made" ] && rm -f "$policy"
		if [ $ok != 0 ]; then
			tail -n 20 "$log" >&2
			echo "paquebot: could not install$missing (whole log: $log)" >&2
			exit 1
		fi
	else
		echo "paquebot: the tests need programs that are not installed:$missing" >&2
		echo "  sudo $install" >&2
		echo "  then run make test again; or make check for the part that needs none of them" >&2
		exit 1
	fi
fi

# nodemailer, clients of other catchers and what drives the browser, from the npm registry.
if [ ! -d test/e2e/node/node_modules/nodemailer ] || [ ! -d test/e2e/node/node_modules/mailpit-api ] || [ ! -d test/e2e/node/node_modules/playwright-core ]; then
	(cd test/e2e/node && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error) || {
		echo "paquebot: could not install the npm packages for the tests: cd test/e2e/node && npm ci" >&2
		exit 1
	}
fi
