import QpidProton
