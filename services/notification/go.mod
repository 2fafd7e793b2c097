module recourse.dev/services/notification

go 1.26.0
