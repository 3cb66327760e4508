"""How people operate Qingliu: the command line."""
