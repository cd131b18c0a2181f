# Ruby's mail gem. Ruby trusts the system's CAs and those of SSL_CERT_FILE.
require 'mail'

mode = ENV['MAIL_TLS']
settings = { address: ENV['MAIL_HOST'], port: ENV['MAIL_PORT'].to_i, enable_starttls_auto: false }
settings.merge!(enable_starttls: true) if mode == 'starttls'
settings.merge!(ssl: true) if mode == 'tls'
settings.merge!(user_name: ENV['MAIL_USER'], password: ENV['MAIL_PASSWORD'], authentication: :plain) if mode != 'none'
Mail.defaults { delivery_method :smtp, settings }

Mail.deliver do
  from 'app@example.com'
  to 'user@example.com'
  subject ENV['MAIL_SUBJECT']
  body 'It works.'
end
