module recourse.dev/services/mailsink

go 1.26.0
