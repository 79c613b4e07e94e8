module netkat

go 1.26.3
