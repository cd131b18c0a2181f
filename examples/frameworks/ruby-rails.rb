# Rails: smtp_settings belong into config/environments/development.rb as
# config.action_mailer.smtp_settings. Ruby trusts SSL_CERT_FILE.
require 'action_mailer'

mode = ENV['MAIL_TLS']
ActionMailer::Base.delivery_method = :smtp
ActionMailer::Base.smtp_settings = { address: ENV['MAIL_HOST'], port: ENV['MAIL_PORT'].to_i, enable_starttls_auto: false }
ActionMailer::Base.smtp_settings.merge!(enable_starttls: true) if mode == 'starttls'
ActionMailer::Base.smtp_settings.merge!(tls: true) if mode == 'tls'
if mode != 'none'
  ActionMailer::Base.smtp_settings.merge!(user_name: ENV['MAIL_USER'], password: ENV['MAIL_PASSWORD'], authentication: :plain)
end

class Hello < ActionMailer::Base
  def say
    mail(from: 'app@example.com', to: 'user@example.com', subject: ENV['MAIL_SUBJECT'], body: 'It works.', content_type: 'text/plain')
  end
end
Hello.say.deliver_now
